# Runs "$2"… as the first process of a process namespace until standard input closes, which it does when the
# test ends, however it ends. Then kills all of that namespace and removes the control group "$1".
cgroup=$1
shift
# A process in the background would get /dev/null for standard input.
exec 3<&0
unshare --pid --fork --mount-proc "$@" </dev/null 3<&- &
unshare=$!
{
    cat <&3 >/dev/null
    # The namespace's first process takes all others with it, and unshare ends after it.
    while kill -0 "$unshare"; do
        kill -KILL "$(tr -d ' ' <"/proc/$unshare/task/$unshare/children")"
    done
} 2>/dev/null &
exec 3<&-
wait "$unshare"
find /sys/fs/cgroup -depth -type d \( -path "*/$cgroup" -o -path "*/$cgroup/*" \) -exec rmdir {} \; 2>/dev/null
exit 0
