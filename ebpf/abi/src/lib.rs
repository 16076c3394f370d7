//! Layout shared by the kernel program and user space.
