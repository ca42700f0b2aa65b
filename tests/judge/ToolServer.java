import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command-line tools one after the other in one JVM, because a JVM costs a second to start.
 *
 * A request on standard input: i32 count of words, the main class first, each an i32 length and UTF-8; then what
 * the tool shall read as its standard input, the same way. An answer on standard output: i32 exit code, then what
 * the tool wrote to its standard output and standard error, each an i32 length and bytes.
 *
 * Tools end by Kafka's own Exit, which throws here instead; their shutdown hooks run when main is over.
 */
public final class ToolServer {
    private static final class Ended extends Error {
        final int code;

        Ended(int code) {
            super("exit " + code, null, false, false);
            this.code = code;
        }
    }

    /** Scala's Console keeps the stream that it saw first, so the stream stays and its target changes. */
    private static final class Tap extends OutputStream {
        private ByteArrayOutputStream target = new ByteArrayOutputStream();

        @Override
        public synchronized void write(int b) {
            target.write(b);
        }

        @Override
        public synchronized void write(byte[] bytes, int offset, int length) {
            target.write(bytes, offset, length);
        }

        synchronized byte[] take() {
            byte[] taken = target.toByteArray();
            target = new ByteArrayOutputStream();
            return taken;
        }
    }

    private static final List<Runnable> HOOKS = new ArrayList<>();
    /** The first exit counts: some tools catch what ends them and exit again. */
    private static Ended ended;

    public static void main(String[] arguments) throws IOException {
        DataInputStream requests = new DataInputStream(System.in);
        DataOutputStream answers = new DataOutputStream(System.out);
        Tap out = new Tap();
        Tap err = new Tap();
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        Exit.setExitProcedure((code, message) -> {
            if (message != null)
                System.err.println(message);
            throw end(code);
        });
        Exit.setHaltProcedure((code, message) -> {
            throw end(code);
        });
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        while (true) {
            List<String> words = new ArrayList<>();
            byte[] input;
            try {
                int count = requests.readInt();
                for (int i = 0; i < count; i++)
                    words.add(new String(read(requests), StandardCharsets.UTF_8));
                input = read(requests);
            } catch (EOFException end) {
                return;
            }
            InputStream before = System.in;
            System.setIn(new ByteArrayInputStream(input));
            int code = run(words);
            System.setIn(before);
            System.out.flush();
            System.err.flush();
            answers.writeInt(code);
            write(answers, out.take());
            write(answers, err.take());
            answers.flush();
        }
    }

    private static synchronized Ended end(int code) {
        if (ended == null)
            ended = new Ended(code);
        return ended;
    }

    private static int run(List<String> words) {
        HOOKS.clear();
        ended = null;
        int code = runMain(words);
        if (ended != null)
            code = ended.code;
        for (Runnable hook : HOOKS) {
            try {
                hook.run();
            } catch (Throwable refused) {
                refused.printStackTrace();
            }
        }
        return code;
    }

    private static int runMain(List<String> words) {
        String[] arguments = words.subList(1, words.size()).toArray(new String[0]);
        try {
            Class.forName(words.get(0)).getMethod("main", String[].class).invoke(null, (Object) arguments);
            return 0;
        } catch (InvocationTargetException thrown) {
            if (!(thrown.getCause() instanceof Ended))
                thrown.getCause().printStackTrace();
            return 1;
        } catch (ReflectiveOperationException unknown) {
            unknown.printStackTrace();
            return 127;
        }
    }

    private static byte[] read(DataInputStream from) throws IOException {
        byte[] bytes = new byte[from.readInt()];
        from.readFully(bytes);
        return bytes;
    }

    private static void write(DataOutputStream to, byte[] bytes) throws IOException {
        to.writeInt(bytes.length);
        to.write(bytes);
    }
}
