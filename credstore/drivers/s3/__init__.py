"""The S3 family: a cloud is a row of the dialect table."""
