// A player's seek bar, in C#: drags the slider, fetches a chapter, shows a preview, plays, and draws what is here.
// No call waits, so all of it may run on the thread that draws.
//
//     alphastream build-capi -o capi
//     mcs SeekBar.cs                                       (or: csc, dotnet)
//     LD_LIBRARY_PATH=capi mono SeekBar.exe person_sbs.asvp 60 5
//
// This plays 30 frames from frame 60 on, with a preview of frame 5. In the bar, # is here, - is partly here, . is
// missing, | is the play head.

using System;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;

// Frames from Start to Stop - 1; alphastream_range in C.
[StructLayout(LayoutKind.Sequential)]
struct FrameRange
{
    public ulong Start, Stop;
}

enum FrameState { Failed = -1, Missing, Coming, Fetched, Ready }

enum StreamState { Failed = -1, None, Opening, Buffering, Playing, Stalled, Ended }

static class Native
{
    const string Library = "alphastream"; // libalphastream.so

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern IntPtr CV_create();

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern void CV_destroy(IntPtr handle);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern int CV_get_last_error_code(IntPtr handle);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern IntPtr CV_get_last_error_text(IntPtr handle);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern uint CV_get_total_frames(IntPtr handle);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern uint CV_get_frame_size(IntPtr handle);

    // Strings are passed as bytes of UTF-8 that end with a zero: what "string" would become depends on the runtime.
    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    [return: MarshalAs(UnmanagedType.I1)] // C's bool is one byte
    public static extern bool CV_init(IntPtr handle, byte[] baseUrl, uint sceneId, uint width, uint height,
        byte[] version, uint startFrame, uint l0BufferLength, uint l1BufferLength, uint l1BufferInitLength,
        uint initTimeoutMs, uint dataTimeoutMs);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    [return: MarshalAs(UnmanagedType.I1)]
    public static extern bool CV_set_option(IntPtr handle, byte[] name, byte[] value);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern IntPtr CV_get_frame(IntPtr handle, ulong frameIndex);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern StreamState CV_get_state(IntPtr handle);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    [return: MarshalAs(UnmanagedType.I1)]
    public static extern bool CV_seek(IntPtr handle, ulong frameIndex, int direction);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern IntPtr CV_poll_frame(IntPtr handle, ulong frameIndex);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern FrameState CV_get_frame_state(IntPtr handle, ulong frameIndex);

    // The array is the caller's: the library writes into it, and returns how many ranges there are.
    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern UIntPtr CV_get_buffered_ranges(IntPtr handle, [Out] FrameRange[] ranges, UIntPtr capacity);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern double CV_get_buffered_seconds(IntPtr handle);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern uint CV_prefetch(IntPtr handle, ulong start, ulong stop);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern FrameState CV_get_prefetch_state(IntPtr handle, uint prefetchId);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    [return: MarshalAs(UnmanagedType.I1)]
    public static extern bool CV_cancel_prefetch(IntPtr handle, uint prefetchId);

    public static byte[] Utf8(string text)
    {
        return Encoding.UTF8.GetBytes(text + "\0");
    }

    public static string Text(IntPtr pointer)
    {
        int length = 0;
        while (Marshal.ReadByte(pointer, length) != 0)
            length++;
        byte[] bytes = new byte[length];
        Marshal.Copy(pointer, bytes, 0, length);
        return Encoding.UTF8.GetString(bytes);
    }
}

// A stream none of whose calls waits, except the constructor.
sealed class PolledStream : IDisposable
{
    const int NotReady = -2, Timeout = -3;

    IntPtr handle = Native.CV_create();
    FrameRange[] ranges = new FrameRange[4];

    public PolledStream(string url, uint width, uint height)
    {
        if (handle == IntPtr.Zero)
            throw new DllNotFoundException("libalphastream cannot start; standard error says what is missing");
        Native.CV_set_option(handle, Native.Utf8("get_frame_timebox_ms"), Native.Utf8("0")); // for CV_get_frame
        byte[] version = Native.Utf8("1.5.0");
        if (!Native.CV_init(handle, Native.Utf8(url), 0, width, height, version, 0, 10, 512, 0, 10000, 10000))
        {
            Exception error = Error();
            Dispose();
            throw error;
        }
    }

    public uint FrameCount { get { return Native.CV_get_total_frames(handle); } }

    public StreamState State { get { return Native.CV_get_state(handle); } }

    public double SecondsAhead { get { return Native.CV_get_buffered_seconds(handle); } }

    public void Seek(ulong index)
    {
        if (!Native.CV_seek(handle, index, 1))
            throw Error();
    }

    // Moves the play head. Null if the mask is not ready yet: show the last one again.
    public byte[] Frame(ulong index)
    {
        return Copied(Native.CV_get_frame(handle, index));
    }

    // Leaves the play head where it is. Null if the mask is not ready yet: poll again.
    public byte[] Poll(ulong index)
    {
        return Copied(Native.CV_poll_frame(handle, index));
    }

    public FrameState StateOf(ulong index)
    {
        FrameState state = Native.CV_get_frame_state(handle, index);
        if (state == FrameState.Failed)
            throw Error();
        return state;
    }

    public uint Prefetch(ulong start, ulong stop)
    {
        uint id = Native.CV_prefetch(handle, start, stop);
        if (id == 0)
            throw Error();
        return id;
    }

    public bool IsFetching(uint prefetchId)
    {
        FrameState state = Native.CV_get_prefetch_state(handle, prefetchId);
        if (state == FrameState.Failed)
            throw Error();
        return state == FrameState.Coming;
    }

    public void CancelPrefetch(uint prefetchId)
    {
        if (!Native.CV_cancel_prefetch(handle, prefetchId))
            throw Error();
    }

    // What is here. The array becomes larger when there are more ranges than fit.
    public ArraySegment<FrameRange> Buffered()
    {
        while (true)
        {
            ulong count = Native.CV_get_buffered_ranges(handle, ranges, new UIntPtr((ulong)ranges.Length)).ToUInt64();
            if (count <= (ulong)ranges.Length)
                return new ArraySegment<FrameRange>(ranges, 0, (int)count);
            ranges = new FrameRange[2 * count];
        }
    }

    public void Dispose()
    {
        Native.CV_destroy(handle);
        handle = IntPtr.Zero;
    }

    byte[] Copied(IntPtr mask)
    {
        if (mask == IntPtr.Zero)
        {
            int code = Native.CV_get_last_error_code(handle);
            if (code != Timeout && code != NotReady)
                throw Error();
            return null;
        }
        byte[] copy = new byte[Native.CV_get_frame_size(handle)];
        Marshal.Copy(mask, copy, 0, copy.Length);
        return copy;
    }

    Exception Error()
    {
        string text = Native.Text(Native.CV_get_last_error_text(handle));
        return new InvalidOperationException(text + " (" + Native.CV_get_last_error_code(handle) + ")");
    }
}

static class SeekBar
{
    const int Cells = 60, Played = 30, DragSteps = 8, PicturesPerBar = 10;

    static int Main(string[] arguments)
    {
        if (arguments.Length != 3)
        {
            Console.Error.WriteLine("usage: SeekBar FILE-OR-URL FRAME PREVIEW-FRAME");
            return 2;
        }
        try
        {
            using (PolledStream stream = new PolledStream(arguments[0], 2048, 1024))
                Play(stream, ulong.Parse(arguments[1]), ulong.Parse(arguments[2]));
            return 0;
        }
        catch (InvalidOperationException error)
        {
            Console.Error.WriteLine("SeekBar: " + error.Message);
            return 1;
        }
    }

    static void Play(PolledStream stream, ulong target, ulong preview)
    {
        Console.WriteLine(stream.FrameCount + " frames");

        // The slider is dragged: only its last place is fetched, and what follows there.
        for (uint step = 1; step <= DragSteps; step++, NextPicture())
            stream.Seek(target * step / DragSteps);
        Console.WriteLine("after the drag, frame " + target + " is "
            + (stream.StateOf(target) == FrameState.Missing ? "missing" : "coming or here"));

        // The first frames, in case that the viewer goes back: fetched when play needs nothing. One range is given up.
        uint chapter = stream.Prefetch(0, Math.Min(60, stream.FrameCount));
        stream.CancelPrefetch(stream.Prefetch(0, stream.FrameCount));

        ulong at = target, stop = Math.Min(target + Played, stream.FrameCount);
        bool hasPreview = false;
        for (uint picture = 0; at < stop || !hasPreview || stream.IsFetching(chapter); picture++, NextPicture())
        {
            if (picture % PicturesPerBar == 0)
                Draw(stream, Math.Min(at, stop - 1));
            byte[] mask = at < stop ? stream.Frame(at) : null;
            if (mask != null)
                Console.WriteLine("frame " + at++ + ": " + CountPixels(mask) + " pixels"); // a player draws it
            if (!hasPreview && (mask = stream.Poll(preview)) != null)
            {
                Console.WriteLine("preview of frame " + preview + ": " + CountPixels(mask) + " pixels");
                hasPreview = true;
            }
        }
        Draw(stream, stop - 1);
    }

    // The frames that are here, on one line.
    static void Draw(PolledStream stream, ulong head)
    {
        StringBuilder bar = new StringBuilder("[");
        ulong count = stream.FrameCount;
        ArraySegment<FrameRange> buffered = stream.Buffered();
        for (uint cell = 0; cell < Cells; cell++)
        {
            ulong start = cell * count / Cells, stop = (cell + 1) * count / Cells, here = 0;
            for (int i = 0; i < buffered.Count; i++)
            {
                FrameRange range = buffered.Array[i];
                ulong from = Math.Max(range.Start, start), to = Math.Min(range.Stop, stop);
                here += to > from ? to - from : 0;
            }
            bool hasHead = head >= start && head < stop;
            bar.Append(hasHead ? '|' : here == 0 ? '.' : here < stop - start ? '-' : '#');
        }
        Console.WriteLine(bar + "] " + stream.State.ToString().ToLowerInvariant() + ", "
            + stream.SecondsAhead.ToString("F1", System.Globalization.CultureInfo.InvariantCulture) + " s ahead");
    }

    static int CountPixels(byte[] mask)
    {
        int count = 0;
        foreach (byte one in mask)
            count += one != 0 ? 1 : 0;
        return count;
    }

    // A player would wait for the display here.
    static void NextPicture()
    {
        Thread.Sleep(16);
    }
}
