// A receiver of Quantfolio webhooks, for ASP.NET Core 8 or later (dotnet new web, this as Program.cs).
// Run it: QHOOK_SIGNING_KEY=… QHOOK_SECRET=… dotnet run
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

const string path = "/hook";
var key = KeyOf(Setting("QHOOK_SIGNING_KEY"));
var secret = Setting("QHOOK_SECRET");
var seen = new ConcurrentDictionary<string, bool>(); // keep the IDs in your database, for a week at least
var builder = WebApplication.CreateBuilder(args);
builder.WebHost.UseUrls("http://*:" + (Environment.GetEnvironmentVariable("PORT") ?? "9000"));
builder.WebHost.ConfigureKestrel(o => o.Limits.MaxRequestBodySize = 1 << 20);
var app = builder.Build();

app.Run(async x =>
{
    if (x.Request.Method != "POST" || x.Request.Path.ToUriComponent() != path)
    {
        x.Response.StatusCode = 404;
        return;
    }
    var body = new MemoryStream();
    await x.Request.Body.CopyToAsync(body);
    var content = body.ToArray(); // as it came: it is what was signed
    if (!Allowed(x.Request) || !Signed(x.Request, content))
    {
        x.Response.StatusCode = 401;
        return;
    }
    using var json = JsonDocument.Parse(content);
    string id = json.RootElement.GetProperty("id").GetString()!, type = json.RootElement.GetProperty("type").GetString()!;
    if (seen.TryAdd(id, true))
        Console.WriteLine($"{type} {id}"); // your work goes here, or into a queue
    x.Response.StatusCode = 204;
});
app.Run();

bool Allowed(HttpRequest r)
{
    return Same(r.Headers.Authorization.ToString(), "Bearer " + secret);
}

// Checks webhook-signature, of which there are two while a key is rotated.
bool Signed(HttpRequest r, byte[] content)
{
    string id = r.Headers["webhook-id"].ToString(), at = r.Headers["webhook-timestamp"].ToString();
    if (!long.TryParse(at, out var seconds) || Math.Abs(DateTimeOffset.UtcNow.ToUnixTimeSeconds() - seconds) > 300)
        return false;
    var want = "v1," + Convert.ToBase64String(HMACSHA256.HashData(key, [.. Encoding.UTF8.GetBytes($"{id}.{at}."), .. content]));
    return r.Headers["webhook-signature"].ToString().Split(' ').Any(s => Same(s, want));
}

// Reads what the program does not run without: an empty key or secret would let anyone in.
static string Setting(string name)
{
    var s = Environment.GetEnvironmentVariable(name) ?? "";
    if (string.IsNullOrWhiteSpace(s))
        Refuse($"set {name}: without it anyone could send");
    return s;
}

static void Refuse(string why)
{
    Console.Error.WriteLine(why);
    Environment.Exit(1);
}

static byte[] KeyOf(string text)
{
    if (!text.StartsWith("whsec_", StringComparison.Ordinal))
        return Encoding.UTF8.GetBytes(text);
    byte[] key = [];
    try { key = Convert.FromBase64String(text[6..]); }
    catch (FormatException) { } // refused below
    if (key.Length == 0)
        Refuse("QHOOK_SIGNING_KEY: what follows whsec_ is not Base64; copy the whole key");
    return key;
}

static bool Same(string a, string b) => CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(a), Encoding.UTF8.GetBytes(b));
