/* launch_activate_socket(3) as launch.h declares it, for systems without launchd. $STUB_SOCKETS is "name=fd,fd;name=fd":
 * each name is given once, an unknown one is ENOENT, no variable at all is a process that launchd has not started. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int launch_activate_socket(const char *name, int **fds, size_t *cnt)
{
    static char taken[16][256];
    static int count;
    const char *entry = getenv("STUB_SOCKETS");

    if (entry == NULL)
        return ESRCH;
    for (int i = 0; i < count; i++)
        if (strcmp(taken[i], name) == 0)
            return EALREADY;
    for (; *entry; entry += strcspn(entry, ";"), entry += *entry == ';') {
        size_t length = strlen(name);
        if (strncmp(entry, name, length) != 0 || entry[length] != '=')
            continue;
        const char *number = entry + length + 1;
        *fds = malloc(16 * sizeof **fds);
        *cnt = 0;
        while (*number && *number != ';') {
            (*fds)[(*cnt)++] = (int)strtol(number, (char **)&number, 10);
            number += *number == ',';
        }
        strncpy(taken[count++], name, 255);
        return 0;
    }
    return ENOENT;
}
