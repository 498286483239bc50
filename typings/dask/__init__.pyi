# What credstore uses of a package without types.
