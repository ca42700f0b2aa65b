import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Stands between clients and a broker that advertises the relay's address. Of clients whose id begins with "tested" it
 * notes each request and each answer, and may hold answers back, lose them, or be deaf to a client; all others pass.
 */
final class Relay implements AutoCloseable {
    static final int PRODUCE = 0;
    static final int FETCH = 1;
    static final int OFFSET_COMMIT = 8;
    static final int HEARTBEAT = 12;

    /** {@code acks} is that of a Produce request, else 0. */
    record Request(long atMs, int api, String client, int acks) {}

    record Answer(Request request, long atMs, int size) {
        long waitedMs() {
            return atMs - request.atMs;
        }
    }

    private final ServerSocket server = new ServerSocket();
    private final int target;
    private final Thread accepting;
    private final Set<Socket> sockets = ConcurrentHashMap.newKeySet();
    private final List<Request> requests = new ArrayList<>();
    private final List<Answer> answers = new ArrayList<>();
    private final Map<Integer, Integer> outstanding = new HashMap<>();
    private final Map<Integer, Integer> most = new HashMap<>();
    private final Map<Integer, Integer> lostRequests = new HashMap<>();
    private final Map<Integer, Integer> lostAnswers = new HashMap<>();
    private final Set<Integer> held = new HashSet<>();
    private final Set<String> unheard = new HashSet<>();
    private int loseEvery = Integer.MAX_VALUE;
    private int slowMs;

    Relay(int port, int target) throws IOException {
        this.target = target;
        server.setReuseAddress(true);
        server.bind(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), port));
        accepting = start(this::accept);
    }

    // What a scenario asks of it

    /** Answers of an API wait here until {@code release}. */
    synchronized void hold(int api) {
        held.add(api);
    }

    synchronized void release() {
        held.clear();
        notifyAll();
    }

    /** From now on each answer to a Produce is late by so much. */
    synchronized void slow(int ms) {
        slowMs = ms;
    }

    /** The next requests of an API do not reach the broker: their connection is cut instead. */
    synchronized void loseRequests(int api, int count) {
        lostRequests.put(api, count);
    }

    /** The next answers of an API do not reach the client: their connection is cut instead. */
    synchronized void loseAnswers(int api, int count) {
        lostAnswers.put(api, count);
    }

    /** Every n-th answer to a Produce is lost. */
    synchronized void loseEvery(int n) {
        loseEvery = n;
    }

    /** Nothing of this client passes any more, and nothing is cut: as when its machine hangs. */
    synchronized void ignore(String client) {
        unheard.add(client);
    }

    synchronized List<Request> requests(int api) {
        return requests.stream().filter(each -> each.api == api).toList();
    }

    synchronized List<Answer> answers(int api) {
        return answers.stream().filter(each -> each.request.api == api).toList();
    }

    /** How many requests of an API wait for their answer, and how many did at most. */
    synchronized int outstanding(int api) {
        return outstanding.getOrDefault(api, 0);
    }

    synchronized int mostOutstanding(int api) {
        return most.getOrDefault(api, 0);
    }

    // How it works

    private void accept() throws IOException {
        while (true) {
            Socket client = server.accept();
            Socket broker = new Socket(InetAddress.getByName("127.0.0.1"), target);
            Map<Integer, Request> asked = new ConcurrentHashMap<>();
            for (Socket each : List.of(client, broker)) {
                each.setTcpNoDelay(true);
                sockets.add(each);
            }
            start(() -> pass(client, broker, frame -> requestPasses(frame, asked)));
            start(() -> pass(broker, client, frame -> answerPasses(frame, asked)));
        }
    }

    private enum Fate { PASSES, VANISHES, CUTS }

    private interface Gate {
        Fate of(ByteBuffer frame) throws InterruptedException;
    }

    private interface Work {
        void run() throws Exception;
    }

    private static Thread start(Work work) {
        Thread thread = new Thread(() -> {
            try {
                work.run();
            } catch (Exception closed) {
                // One side has gone: pass() has closed the other.
            }
        });
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    private void pass(Socket from, Socket to, Gate gate) throws Exception {
        try (from; to) {
            DataInputStream in = new DataInputStream(from.getInputStream());
            DataOutputStream out = new DataOutputStream(to.getOutputStream());
            while (true) {
                byte[] frame = new byte[in.readInt()];
                in.readFully(frame);
                Fate fate = gate.of(ByteBuffer.wrap(frame));
                if (fate == Fate.CUTS)
                    return;
                if (fate == Fate.PASSES)
                    out.write(ByteBuffer.allocate(4 + frame.length).putInt(frame.length).put(frame).array());
            }
        } finally {
            sockets.removeAll(List.of(from, to));
        }
    }

    private synchronized Fate requestPasses(ByteBuffer frame, Map<Integer, Request> asked) {
        int api = frame.getShort();
        frame.getShort();
        int correlation = frame.getInt();
        byte[] name = new byte[Math.max(0, frame.getShort())];
        frame.get(name);
        String client = new String(name, StandardCharsets.UTF_8);
        if (!client.startsWith("tested"))
            return Fate.PASSES;
        // Produce 9 and later: no tags, no transactional id, acks.
        int acks = api == PRODUCE ? frame.getShort(frame.position() + 2) : 0;
        Request request = new Request(System.nanoTime() / 1_000_000, api, client, acks);
        requests.add(request);
        if (unheard.contains(client))
            return Fate.VANISHES;
        if (takeOne(lostRequests, api))
            return Fate.CUTS;
        if (api != PRODUCE || acks != 0) {
            asked.put(correlation, request);
            most.merge(api, outstanding.merge(api, 1, Integer::sum), Math::max);
        }
        return Fate.PASSES;
    }

    private synchronized Fate answerPasses(ByteBuffer frame, Map<Integer, Request> asked) throws InterruptedException {
        Request request = asked.remove(frame.getInt());
        if (request == null)
            return Fate.PASSES;
        while (held.contains(request.api))
            wait();
        if (request.api == PRODUCE && slowMs > 0)
            wait(slowMs);
        outstanding.merge(request.api, -1, Integer::sum);
        Answer answer = new Answer(request, System.nanoTime() / 1_000_000, frame.limit());
        answers.add(answer);
        if (unheard.contains(request.client))
            return Fate.VANISHES;
        boolean isNth = request.api == PRODUCE && answers(PRODUCE).size() % loseEvery == 0;
        return isNth || takeOne(lostAnswers, request.api) ? Fate.CUTS : Fate.PASSES;
    }

    private static boolean takeOne(Map<Integer, Integer> counts, int api) {
        int left = counts.getOrDefault(api, 0);
        counts.put(api, Math.max(0, left - 1));
        return left > 0;
    }

    @Override
    public void close() throws Exception {
        release();
        server.close();
        accepting.join(); // until then the port is not free
        for (Socket each : sockets)
            each.close();
    }
}
