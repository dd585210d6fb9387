"""HDF5 files of strangers, and which kind of model they are."""
