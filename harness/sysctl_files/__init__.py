"""Reading the files in which people keep sysctls. What is read is data: nothing of it is run."""
