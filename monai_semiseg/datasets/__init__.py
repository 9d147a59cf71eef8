"""Datasets: search of cases, check, fingerprint, plan and split."""
