"""The ports on AWS. Only this package imports boto3."""
