"""CryptoDataDownload: its client, listing and files; bytes in, candles out. Nothing here knows a database."""
