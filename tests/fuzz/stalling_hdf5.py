"""In the place of the process that reads HDF5: one that libhdf5 does not come back to."""

import time

if __name__ == "__main__":
    time.sleep(3600)
