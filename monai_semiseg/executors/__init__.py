"""Independent work is done by processes here, by SLURM or by Dask.

:func:`~monai_semiseg.executors.run.run_work` is the one way in: a small picklable
:class:`~monai_semiseg.executors.work.Work`, items, and an
:class:`~monai_semiseg.executors.choice.ExecutorChoice`. What is done is what result files say.
"""
