/* stamp LOG ID [WORDS]: notes the moment a command ran.
 *
 * One line, "ID realtime_ns", appended by a single write, so that any number of commands may share
 * a log. WORDS, where given, are printed: output that a daemon has to take care of. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct timespec now;
	char line[128];
	int log, length;

	clock_gettime(CLOCK_REALTIME, &now);
	if (argc < 3)
		return 2;
	length = snprintf(line, sizeof line, "%.90s %lld\n", argv[2],
			  (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
	log = open(argv[1], O_WRONLY | O_APPEND);
	if (log < 0 || write(log, line, length) != length)
		return 1;
	if (argc > 3) {
		length = snprintf(line, sizeof line, "%.100s\n", argv[3]);
		if (write(1, line, length) != length)
			return 1;
	}
	return 0;
}
