/* spawn PERIOD COMMANDS USER LIMIT: the least that a cron daemon can do.
 *
 * COMMANDS holds one a line. At every multiple of PERIOD seconds each is started by posix_spawn of
 * /bin/sh -c, as USER, at most LIMIT at a time (0: all), and all are waited for. No times, no
 * output, no record; the user is taken on once, not for every command. */
#include <grp.h>
#include <pwd.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int become(const char *name)
{
	struct passwd *user = getpwnam(name);

	if (!user)
		return -1;
	if (user->pw_uid == geteuid())
		return 0;
	return initgroups(name, user->pw_gid) || setgid(user->pw_gid) || setuid(user->pw_uid);
}

int main(int argc, char **argv)
{
	char **commands = NULL, *line = NULL;
	size_t count = 0, room = 0;
	long period, limit, running = 0;
	FILE *table;

	if (argc != 5 || !(table = fopen(argv[2], "r")) || become(argv[3]))
		return 2;
	period = atol(argv[1]);
	limit = atol(argv[4]);
	while (getline(&line, &room, table) > 0) {
		line[strcspn(line, "\n")] = 0;
		commands = realloc(commands, (count + 1) * sizeof *commands);
		commands[count++] = strdup(line);
	}
	for (;;) {
		struct timespec next;

		clock_gettime(CLOCK_REALTIME, &next);
		next.tv_sec += period - next.tv_sec % period;
		next.tv_nsec = 0;
		clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &next, NULL);
		for (size_t i = 0; i < count; i++) {
			char *shell[] = {"sh", "-c", commands[i], NULL};
			pid_t pid;

			if (limit && running == limit && wait(NULL) > 0)
				running--;
			if (posix_spawn(&pid, "/bin/sh", NULL, NULL, shell, environ))
				return 1;
			running++;
		}
		while (wait(NULL) > 0)
			;
		running = 0;
	}
}
