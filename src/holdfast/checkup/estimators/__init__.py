"""The statistics that findings rest on, one a file."""
