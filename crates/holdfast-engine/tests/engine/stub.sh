#!/bin/sh
# A restic that does what the file `behaviour.sh` beside it says.
here=${0%/*}
operation=$1
. "$here/behaviour.sh"
