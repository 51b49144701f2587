/* cc -I.. -o parse_test parse_test.c ../parse.c && ./parse_test */
#include "parse.h"

#include <stdio.h>
#include <string.h>

static int failed;

static void expect(bool is, const char *what) {
    if (!is) {
        printf("failed: %s\n", what);
        failed = 1;
    }
}

#define EXPECT(is) expect((is), #is)

int main(void) {
    double number;
    EXPECT(parse_number("256\n", 4, &number) && number == 256);
    EXPECT(parse_number("2567", 3, &number) && number == 256);
    EXPECT(!parse_number("", 0, &number));
    EXPECT(!parse_number("x", 1, &number));

    struct load load;
    const char *text = "0.52 0.58 0.59 2/941 12345\n";
    EXPECT(parse_load(text, strlen(text), &load));
    EXPECT(load.minute == 0.52 && load.fifteen_minutes == 0.59 && load.runnable == 2 && load.tasks == 941);
    EXPECT(!parse_load(text, 14, &load));

    struct files files;
    text = "1216\t0\t9223372036854775807\n";
    EXPECT(parse_files(text, strlen(text), &files) && files.open == 1216 && files.most > 9e18);
    EXPECT(!parse_files("1216\t0", 6, &files));

    char large[4096];
    memset(large, '1', sizeof large);
    EXPECT(!parse_number(large, sizeof large, &number));
    puts(failed ? "not well" : "ok");
    return failed;
}
