"""Valid files and configs, damaged in thousands of ways, through the code that commands take."""
