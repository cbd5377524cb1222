"""Snapshots of app folders, taken before an update and put back when it fails; removing whole trees."""
