"""``python -m monai_semiseg`` is the ``monai-semiseg`` command."""

import sys

from monai_semiseg.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
