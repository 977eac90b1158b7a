"""Sweeps: many ordinary runs from one specification, handed to submitit, watched, and summed up.

`spec` reads the TOML file, `plan` makes runs of it, `conduct` hands them out and watches them, `executors` and `slurm`
are the places that they go to, `here` is what processes on this machine get, `job` what one run's process does,
`progress` reads how far a run is from its directory, `row` shows it, `cost` tells what is left from measured rates,
`results` makes means and deviations.
"""
