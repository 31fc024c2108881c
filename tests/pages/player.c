#include "alphastream.h"

extern void *handle;
extern const char *digits;
void upload(const void *mask, int width, int height);
void fail(const char *text);
void show_spinner(void);
void draw_stripe(unsigned long long start, unsigned long long stop);
void play(unsigned long long frame);

void play(unsigned long long frame)
{
    (void)frame;
BLOCK
}
