package recorder;

import jakarta.servlet.ServletException;
import java.io.CharArrayWriter;
import java.io.IOException;
import org.apache.catalina.connector.Request;
import org.apache.catalina.connector.Response;
import org.apache.catalina.valves.AbstractAccessLogValve;

/** Tomcat's access log, in one stream with all other logs; notes who is served by which thread. */
public final class Access extends AbstractAccessLogValve {
    @Override
    public void invoke(Request request, Response response) throws IOException, ServletException {
        Recorder.serve(request.getRemoteAddr());
        super.invoke(request, response);
    }

    @Override
    public void log(Request request, Response response, long nanos) {
        Recorder.serve(request.getRemoteAddr());
        status.set("" + response.getStatus());
        try {
            super.log(request, response, nanos);
        } finally {
            Recorder.serve(null);
        }
    }

    private static final ThreadLocal<String> status = ThreadLocal.withInitial(() -> "");

    @Override
    protected void log(CharArrayWriter message) {
        Recorder.write("access", "", status.get(), message.toString());
    }
}
