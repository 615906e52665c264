package recorder;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.logging.Formatter;
import java.util.logging.Handler;
import java.util.logging.LogManager;
import java.util.logging.LogRecord;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Writes all logs to standard output in the order they were made, each entry as its formatter made it.
 *
 * <p>In front of an entry, between two control characters, stands what the recorder needs to know of it and takes away
 * again: time, process, thread, visitor's address, logger, level, status or exception, number of lines.
 */
public final class Recorder extends Handler {
    /** Who is served by a thread, by the thread's name. */
    private static final Map<String, String> VISITORS = new ConcurrentHashMap<>();

    private static final FileOutputStream OUTPUT = new FileOutputStream(FileDescriptor.out);
    private static final long PROCESS = ProcessHandle.current().pid();
    private static final Pattern WORKER = Pattern.compile("http-nio-[\\w.-]+-exec-\\d+");

    /** The formatter is a property of the logging configuration, as for Tomcat's own handlers. */
    public Recorder() throws ReflectiveOperationException {
        String name = LogManager.getLogManager().getProperty(Recorder.class.getName() + ".formatter");
        setFormatter((Formatter) Class.forName(name).getConstructor().newInstance());
    }

    /** From now on this thread works for `address`; for nobody when null. */
    public static void serve(String address) {
        String thread = Thread.currentThread().getName();
        if (address == null) {
            VISITORS.remove(thread);
        } else {
            VISITORS.put(thread, address);
        }
    }

    @Override
    public void publish(LogRecord record) {
        if (isLoggable(record)) {
            String text = getFormatter().format(record);
            Throwable thrown = record.getThrown();
            write(record.getLoggerName(), record.getLevel().getName(), thrown == null ? "" : thrown.getClass().getName(), text);
        }
    }

    /** One entry in one piece. */
    public static synchronized void write(String logger, String level, String code, String text) {
        String thread = Thread.currentThread().getName();
        String visitor = VISITORS.get(thread);
        if (visitor == null) { // watchdogs speak of the threads of others
            Matcher other = WORKER.matcher(text);
            visitor = other.find() ? VISITORS.getOrDefault(other.group(), "") : "";
        }
        text = text.stripTrailing();
        Instant now = Instant.now();
        long micros = now.getEpochSecond() * 1_000_000 + now.getNano() / 1000;
        long lines = 1 + text.chars().filter(character -> character == '\n').count();
        String head = String.join("\t", "" + micros, "" + PROCESS, thread, visitor, logger, level, code, "" + lines);
        try {
            OUTPUT.write(("\u001e" + head + "\u001f" + text + "\n").getBytes(StandardCharsets.UTF_8));
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    @Override
    public void flush() {}

    @Override
    public void close() {}
}
