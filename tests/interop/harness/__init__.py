"""The programs under test and their counterparts, each started on a free port and ended by its process id."""
