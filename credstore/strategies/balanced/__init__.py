"""Objects spread over stores by weight, each always at the same one."""
