"""The commands about datasets, models, checkpoints, backups and archived logs."""
