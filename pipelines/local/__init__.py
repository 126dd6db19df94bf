"""Jobs on this machine: started, watched, ended."""
