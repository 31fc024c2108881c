// Package: the uploaded frames, word by word. _gl/packing.py describes the layout and provides the PACKAGE_ defines.
//
// The compute stages read it from a storage buffer, the drawing stages of OpenGL 3.3 from a buffer texture.

#ifdef COMPUTE
layout(std430, binding = 0) readonly restrict buffer Package {
    int words[];
};
#define WORD(place) words[place]
#else
uniform isamplerBuffer words;
#define WORD(place) texelFetch(words, place).r
#endif

// A channel with three or more points has an interior. With two points it is a line, with fewer it is empty.
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

// The channel of a point: the last channel that does not start after the point. (An empty channel starts where the next
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

// Computes the end of the segment that starts at a point. Returns whether there is such a segment.
bool segment_end(int point, Channel channel, out ivec2 end) {
    int next = point + 1;
    bool is_last = next == channel.start + channel.n_points;
    end = point_at(is_last ? channel.start : next);
    return channel.n_points > 2 || (channel.n_points == 2 && !is_last);
}
