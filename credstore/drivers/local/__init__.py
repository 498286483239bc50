"""Plain files below one directory, durable and atomic."""
