"""What people touch: the command line, the HTTP API and its page. They translate, call and print."""
