"""What a machine has to run apps with: cards, memory, processors, disks, and which services it reaches."""
