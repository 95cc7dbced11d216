"""The history in MongoDB, through djongo: loaded only where MONGODB_URL is set."""
