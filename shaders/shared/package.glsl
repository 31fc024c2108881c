// Package: the frames as they were uploaded, word by word (_gl/packing.py, which gives the PACKAGE_ defines).
//
// The compute stages have it as a storage buffer, the drawing stages of OpenGL 3.3 as a buffer texture.

#ifdef COMPUTE
layout(std430, binding = 0) readonly restrict buffer Package {
    int words[];
};
#define WORD(place) words[place]
#else
uniform isamplerBuffer words;
#define WORD(place) texelFetch(words, place).r
#endif

// A channel of three points and more has an interior; with two it is a line, with fewer it is nothing.
struct Channel {
    int start;
    int n_points;
    int plane;
    int frame;
};

Channel channel_at(int index) {
    int start = WORD(PACKAGE_CHANNELS_AT + index);
    int word = WORD(WORD(PACKAGE_PLANES_AT) + index);
    int plane = word & ((1 << PACKAGE_FRAME_SHIFT) - 1);
    return Channel(start, WORD(PACKAGE_CHANNELS_AT + index + 1) - start, plane, word >> PACKAGE_FRAME_SHIFT);
}

// The channel that a point belongs to: the last one that does not start after it. (Empty channels start where the next
// one does.)
Channel channel_of(int point) {
    int low = 0;
    int high = WORD(PACKAGE_N_CHANNELS);
    while (high - low > 1) {
        int middle = (low + high) >> 1;
        if (WORD(PACKAGE_CHANNELS_AT + middle) <= point) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return channel_at(low);
}

ivec2 point_at(int point) {
    int place = WORD(PACKAGE_POINTS_AT) + 2 * point;
    return ivec2(WORD(place), WORD(place + 1));
}

// The end of the segment that starts at a point; whether there is one.
bool segment_end(int point, Channel channel, out ivec2 end) {
    int next = point + 1;
    bool is_last = next == channel.start + channel.n_points;
    end = point_at(is_last ? channel.start : next);
    return channel.n_points > 2 || (channel.n_points == 2 && !is_last);
}
