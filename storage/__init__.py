"""Data outside the process: CryptoDataDownload's archive and our database. No Prefect, no TensorFlow."""
