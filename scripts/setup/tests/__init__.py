"""Tests of the set-up: `make test-scripts`. They fetch nothing."""
