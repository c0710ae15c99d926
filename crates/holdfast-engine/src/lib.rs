//! The craft: runs restic as a child process and tells the truth about it.
