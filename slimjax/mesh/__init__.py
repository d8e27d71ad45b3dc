"""The mesh of devices, and how arrays lie on it: by the names of their axes."""
