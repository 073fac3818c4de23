"""The benchmarks of the service and its peers, run by `make bench`."""
