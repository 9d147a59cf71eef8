"""The monai-semiseg command: thin verbs over the package."""
