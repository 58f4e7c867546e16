/* Stands in for sendmail: reads the message and forgets it. If the box counts mails, it notes that one
 * has come. */
#include <fcntl.h>
#include <unistd.h>

int main(void)
{
	char message[4096];
	int log;

	while (read(0, message, sizeof message) > 0)
		;
	log = open("/run/bench-mails", O_WRONLY | O_APPEND);
	return log >= 0 && write(log, ".", 1) != 1;
}
