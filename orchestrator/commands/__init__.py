"""The commands, one file each or per small family: options in, calls to the layers below, output."""
