"""`StorageProvider`: the verbs users hold, over any driver."""
