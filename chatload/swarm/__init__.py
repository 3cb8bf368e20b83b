"""The Locust driver: the only package that imports locust and gevent."""
