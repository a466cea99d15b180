"""What `make bench` measures: Switchboard side by side with what people would pick instead. See `bench/README.md`."""
