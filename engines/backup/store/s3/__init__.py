"""A repository in a bucket of an S3 object store."""
