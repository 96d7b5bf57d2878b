"""The only code that touches the real world: gRPC, mDNS, the disk, the device."""
