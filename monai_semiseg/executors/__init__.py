"""Independent work is done by processes here, by SLURM or by Dask."""
