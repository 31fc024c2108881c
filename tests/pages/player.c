#include "alphastream.h"

void upload(const void *mask, int width, int height);
void fail(const char *text);
void play(unsigned long long frame);

void play(unsigned long long frame)
{
BLOCK
}
