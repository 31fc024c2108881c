// A player's part that fetches masks, in C#: opens a stream, copies masks out, prints their SHA-256, reads a strip.
//
//     alphastream build-capi -o capi
//     mcs Player.cs                                        (or: csc, dotnet)
//     LD_LIBRARY_PATH=capi mono Player.exe person_sbs.asvp 0 60
//
// An encrypted stream takes its passphrase from ALPHASTREAM_PASSPHRASE, and its scene and version from CV_init.

using System;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

static class Native
{
    const string Library = "alphastream"; // libalphastream.so

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern IntPtr CV_create();

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern void CV_destroy(IntPtr handle);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern IntPtr CV_get_name(IntPtr handle);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern IntPtr CV_get_version(IntPtr handle);

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
    public static extern bool CV_init(IntPtr handle, byte[] baseUrl, uint sceneId, uint width, uint height, byte[] version,
        uint startFrame, uint l0BufferLength, uint l1BufferLength, uint l1BufferInitLength, uint initTimeoutMs,
        uint dataTimeoutMs);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    public static extern IntPtr CV_get_frame(IntPtr handle, ulong frameIndex);

    [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
    [return: MarshalAs(UnmanagedType.I1)]
    public static extern bool CV_get_triangle_strip_vertices(IntPtr handle, ulong frameIndex, out IntPtr vertices,
        out UIntPtr count);

    public static byte[] Utf8(string text)
    {
        return text == null ? null : Encoding.UTF8.GetBytes(text + "\0");
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

sealed class MaskStream : IDisposable
{
    const int Timeout = -3, NotReady = -2;

    IntPtr handle = Native.CV_create();

    public MaskStream(string url, uint width, uint height)
    {
        if (handle == IntPtr.Zero)
            throw new DllNotFoundException("libalphastream cannot start; standard error says what is missing");
        if (!Native.CV_init(handle, Native.Utf8(url), 0, width, height, Native.Utf8("1.5.0"), 0, 10, 512, 30, 10000, 10000))
        {
            string reason = Error;
            Dispose();
            throw new InvalidOperationException(reason);
        }
    }

    public uint FrameCount { get { return Native.CV_get_total_frames(handle); } }

    public string Name { get { return Native.Text(Native.CV_get_name(handle)) + " " + Native.Text(Native.CV_get_version(handle)); } }

    public string Error
    {
        get { return Native.Text(Native.CV_get_last_error_text(handle)) + " (" + Native.CV_get_last_error_code(handle) + ")"; }
    }

    // A copy: the library's own bytes are valid until the next call only. Null if there is none yet; ask again.
    public byte[] Frame(ulong index)
    {
        IntPtr mask = Native.CV_get_frame(handle, index);
        if (mask != IntPtr.Zero)
        {
            byte[] copy = new byte[Native.CV_get_frame_size(handle)];
            Marshal.Copy(mask, copy, 0, copy.Length);
            return copy;
        }
        ThrowUnlessComing();
        return null;
    }

    // x and y of each vertex. Null if they are not there yet; ask again.
    public float[] Strip(ulong index)
    {
        IntPtr vertices;
        UIntPtr count;
        if (!Native.CV_get_triangle_strip_vertices(handle, index, out vertices, out count))
        {
            ThrowUnlessComing();
            return null;
        }
        float[] copy = new float[(int)count.ToUInt64()]; // count is the number of floats
        Marshal.Copy(vertices, copy, 0, copy.Length);
        return copy;
    }

    void ThrowUnlessComing()
    {
        int code = Native.CV_get_last_error_code(handle);
        if (code != Timeout && code != NotReady)
            throw new InvalidOperationException(Error);
    }

    public void Dispose()
    {
        Native.CV_destroy(handle);
        handle = IntPtr.Zero;
    }
}

static class Player
{
    static int Main(string[] arguments)
    {
        if (arguments.Length != 3)
        {
            Console.Error.WriteLine("usage: Player FILE-OR-URL FIRST LAST");
            return 2;
        }
        try
        {
            using (MaskStream stream = new MaskStream(arguments[0], 2048, 1024))
            using (SHA256 sha = SHA256.Create())
            {
                Console.WriteLine(stream.Name + ": " + stream.FrameCount + " frames");
                for (ulong index = ulong.Parse(arguments[1]); index <= ulong.Parse(arguments[2]); index++)
                {
                    byte[] mask;
                    while ((mask = stream.Frame(index)) == null)
                        continue; // a player would show the last one again
                    float[] strip;
                    while ((strip = stream.Strip(index)) == null)
                        continue;
                    string hash = BitConverter.ToString(sha.ComputeHash(mask)).Replace("-", "").ToLowerInvariant();
                    Console.WriteLine(index + " " + hash + " " + strip.Length / 2);
                }
            }
            return 0;
        }
        catch (InvalidOperationException error)
        {
            Console.Error.WriteLine("Player: " + error.Message);
            return 1;
        }
    }
}
